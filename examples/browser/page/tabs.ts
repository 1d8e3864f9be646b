/** Tabs after the ARIA pattern: arrow keys choose, the address remembers. */
export function startTabs(list: HTMLElement): void {
  const tabs = Array.from(list.querySelectorAll<HTMLElement>('[role=tab]'));
  const choose = (chosen: HTMLElement): void => {
    for (const tab of tabs) {
      tab.setAttribute('aria-selected', String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      document.getElementById(tab.getAttribute('aria-controls')!)!.hidden = tab !== chosen;
    }
  };
  const fromAddress = (): void => choose(tabs.find(({ dataset }) => `#${dataset.name}` === location.hash) ?? tabs[0]);
  for (const [i, tab] of tabs.entries()) {
    tab.addEventListener('click', () => {
      history.replaceState(null, '', `#${tab.dataset.name}`);
      choose(tab);
    });
    tab.addEventListener('keydown', ({ key }) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[key];
      if (to === undefined) return;
      const next = tabs[(to + tabs.length) % tabs.length];
      next.click();
      next.focus();
    });
  }
  addEventListener('hashchange', fromAddress);
  fromAddress();
}

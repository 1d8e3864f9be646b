/* global clearInterval, document, setInterval */
/* Draws the epoch that the slider of film.ts points to. Runs in the report's page. */
(() => {
  const figure = document.currentScript.parentNode;
  const { base, top, width, height, margin, frames } = JSON.parse(figure.querySelector('script').textContent);
  const [slider, button, output] = ['input', 'button', 'output'].map((name) => figure.querySelector(name));
  const bins = frames[0].counts.length;
  const x = (i) => (margin.left + (i / bins) * (width - margin.left - margin.right)).toFixed(1);
  const y = (n) => (height - margin.bottom - (Math.log(Math.max(base, n) / base) / Math.log(top / base)) * (height - margin.top - margin.bottom)).toFixed(1);
  let timer = null;

  function draw() {
    const { epoch, counts, expected, note } = frames[Number(slider.value)];
    const bars = counts.map((n, i) => `H${x(i)}V${y(n)}`).join('');
    figure.querySelector('.bars').setAttribute('d', `M${x(0)},${y(0)}${bars}H${x(bins)}V${y(0)}Z`);
    figure.querySelector('.mixture').setAttribute('d', expected.map((n, i) => `${i === 0 ? 'M' : 'L'}${x(i + 0.5)},${y(n)}`).join(''));
    output.textContent = `epoch ${epoch}: ${note}`;
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    button.textContent = 'play';
  }

  button.onclick = () => {
    if (timer !== null) {
      pause();
      return;
    }
    if (Number(slider.value) === frames.length - 1) slider.value = '0';
    button.textContent = 'pause';
    draw();
    timer = setInterval(() => {
      slider.value = String(Number(slider.value) + 1);
      draw();
      if (Number(slider.value) === frames.length - 1) pause();
    }, 250);
  };
  slider.oninput = () => {
    pause();
    draw();
  };
})();

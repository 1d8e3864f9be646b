/** a, b float32 matrices → op(a) · op(b), op(x) = xᵀ where asked for. */
export const DENSE_PRODUCT = 'DenseProduct';

export interface DenseProductAttrs {
  transposeA: boolean;
  transposeB: boolean;
}

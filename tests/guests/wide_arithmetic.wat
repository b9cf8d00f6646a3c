;; Uses 128-bit multiplication.
(component
  (core module (func (result i64 i64) (i64.mul_wide_u (i64.const 1) (i64.const 2))))
  (instance $handler) (export "posthaste:transform/handler@0.1.0" (instance $handler)))

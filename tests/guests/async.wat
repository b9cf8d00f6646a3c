;; Uses an async function.
(component
  (core module $M (func (export "f")) (func (export "callback") (param i32 i32 i32) (result i32) (i32.const 0)))
  (core instance $m (instantiate $M))
  (func (canon lift (core func $m "f") async (callback (core func $m "callback"))))
  (instance $handler) (export "posthaste:transform/handler@0.1.0" (instance $handler)))

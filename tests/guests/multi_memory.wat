;; Uses two memories in one module.
(component
  (core module (memory 1) (memory 1))
  (instance $handler) (export "posthaste:transform/handler@0.1.0" (instance $handler)))

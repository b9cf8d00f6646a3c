;; Uses exceptions.
(component
  (core module (tag))
  (instance $handler) (export "posthaste:transform/handler@0.1.0" (instance $handler)))

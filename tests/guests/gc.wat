;; Uses garbage-collected objects.
(component
  (core module (type (struct (field i32))))
  (instance $handler) (export "posthaste:transform/handler@0.1.0" (instance $handler)))

;; Uses a stream of bytes.
(component
  (type (stream u8))
  (instance $handler) (export "posthaste:transform/handler@0.1.0" (instance $handler)))

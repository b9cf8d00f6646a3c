;; Uses a memory with 64-bit addresses.
(component
  (core module (memory i64 1))
  (instance $handler) (export "posthaste:transform/handler@0.1.0" (instance $handler)))

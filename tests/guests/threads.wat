;; Uses memory that is shared between threads.
(component
  (core module (memory 1 1 shared))
  (instance $handler) (export "posthaste:transform/handler@0.1.0" (instance $handler)))

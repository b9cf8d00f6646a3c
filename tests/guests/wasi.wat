;; Imports the environment of WASI.
(component (import "wasi:cli/environment@0.2.6" (instance)) (import "posthaste:transform/log@0.1.0" (instance)))

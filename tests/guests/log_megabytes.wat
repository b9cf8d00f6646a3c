;; Logs two megabytes at once.
(import "posthaste:transform/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (drop (memory.grow (i32.const 40)))
  (call $log (i32.const 1) (i32.const 65536) (i32.const 2097152))
  (i32.const 1024))

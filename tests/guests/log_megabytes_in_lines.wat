;; Logs half a megabyte at a time until it is stopped.
(import "posthaste:transform/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (memory.fill (i32.const 65536) (i32.const 120) (i32.const 524288))
  (loop $l (call $log (i32.const 1) (i32.const 65536) (i32.const 524288)) (br $l))
  unreachable)

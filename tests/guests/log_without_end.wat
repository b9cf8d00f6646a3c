;; Logs an empty line until it is stopped: the host is called all the time.
(import "posthaste:transform/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (loop $l (call $log (i32.const 1) (i32.const 0) (i32.const 0)) (br $l)) unreachable)

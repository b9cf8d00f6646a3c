;; Logs a line that is not UTF-8.
(import "posthaste:transform/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(data (i32.const 3072) "\68\69\ff\c3")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (call $log (i32.const 1) (i32.const 3072) (i32.const 4)) (i32.const 1024))

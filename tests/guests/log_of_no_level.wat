;; Logs at the tenth level of four.
(import "posthaste:transform/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(data (i32.const 3072) "hello")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (call $log (i32.const 9) (i32.const 3072) (i32.const 5)) (i32.const 1024))

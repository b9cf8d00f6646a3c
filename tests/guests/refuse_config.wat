;; Refuses every config: err("I take no config").
(data (i32.const 2048) "\01\00\00\00\00\0c\00\00\10\00\00\00")
(data (i32.const 3072) "I take no config")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 2048))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (i32.const 1024))

;; Answers with a body that is not UTF-8.
(data (i32.const 2048) "\00\00\00\00\01\00\00\00\00\0c\00\00\04\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
(data (i32.const 3072) "\68\69\ff\c3")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (i32.const 2048))

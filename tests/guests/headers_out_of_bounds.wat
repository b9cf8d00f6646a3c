;; Answers with a list of headers that lies outside memory.
(data (i32.const 2048) "\00\00\00\00\01\00\00\00\00\0c\00\00\05\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\f0\ff\ff\7f\03\00\00\00")
(data (i32.const 3072) "hello")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (i32.const 2048))

;; Answers with a body of 30 MiB.
(data (i32.const 2048) "\00\00\00\00\01\00\00\00\00\00\01\00\00\00\e0\01\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (drop (memory.grow (i32.const 480))) (i32.const 2048))

;; Answers with a body that begins in memory and ends outside: 64 KiB, and memory ends after 8.
(data (i32.const 2048) "\00\00\00\00\01\00\00\00\00\e0\0f\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (i32.const 2048))

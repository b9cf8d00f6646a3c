;; Returns a header with an empty name.
(data (i32.const 2048) "\00\00\00\00\01\00\00\00\00\0c\00\00\05\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\0d\00\00\01\00\00\00")
(data (i32.const 3072) "hello")
(data (i32.const 3328) "\20\0d\00\00\00\00\00\00\80\0d\00\00\01\00\00\00")
(data (i32.const 3360) "")
(data (i32.const 3456) "b")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (i32.const 2048))

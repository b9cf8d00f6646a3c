;; Returns a content type that would begin a header: text/plain CR LF x-b: c.
(data (i32.const 2048) "\00\00\00\00\01\00\00\00\00\0c\00\00\05\00\00\00\01\00\00\00\80\0c\00\00\12\00\00\00\00\00\00\00\00\00\00\00")
(data (i32.const 3072) "hello")
(data (i32.const 3200) "text/plain\0d\0ax-b: c")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (i32.const 2048))

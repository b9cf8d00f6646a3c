;; Answers with the tenth case of three: ok(9).
(data (i32.const 2048) "\00\00\00\00\09")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (i32.const 2048))

;; Sends the value of the event's first header as the body.
(data (i32.const 2048) "\00\00\00\00\01\00\00\00")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform)
  (i64.store (i32.const 2056) (i64.load (i32.add (local.get 8) (i32.const 8))))
  (i32.const 2048))

;; Sends the body `1` with all headers of the event.
(data (i32.const 2048) "\00\00\00\00\01\00\00\00\00\0c\00\00\01\00\00\00")
(data (i32.const 3072) "1")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform)
  (i32.store (i32.const 2076) (local.get 8))
  (i32.store (i32.const 2080) (local.get 9))
  (i32.const 2048))

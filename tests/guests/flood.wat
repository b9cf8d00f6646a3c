;; Answers with a body of 8 MiB.
(data (i32.const 2048) "\00\00\00\00\01\00\00\00\00\00\10\00\00\00\80\00")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform)
  (drop (memory.grow (i32.const 200))) (i32.const 2048))

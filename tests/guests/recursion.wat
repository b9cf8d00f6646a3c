;; Calls itself without end.
(func $deep (param i64) (result i64)
  (i64.add (i64.const 1) (call $deep (i64.add (local.get 0) (i64.const 1)))))
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (drop (call $deep (i64.const 0))) (i32.const 1024))

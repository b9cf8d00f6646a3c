;; Logs 1,000 lines and passes.
(import "posthaste:transform/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(data (i32.const 3072) "line")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (local $n i32)
  (loop $l
    (call $log (i32.const 1) (i32.const 3072) (i32.const 4))
    (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000))))
  (i32.const 1024))

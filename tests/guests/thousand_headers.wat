;; Answers with 1,000 headers, all of them `a: a`.
(data (i32.const 2048) "\00\00\00\00\01\00\00\00\00\0c\00\00\05\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\01\00\e8\03\00\00")
(data (i32.const 3072) "hello")
(data (i32.const 3360) "a")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (local $at i32)
  (drop (memory.grow (i32.const 30)))
  (local.set $at (i32.const 65536))
  (loop $l
    (i32.store (local.get $at) (i32.const 3360)) (i32.store offset=4 (local.get $at) (i32.const 1))
    (i32.store offset=8 (local.get $at) (i32.const 3360)) (i32.store offset=12 (local.get $at) (i32.const 1))
    (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (i32.const 81536))))
  (i32.const 2048))

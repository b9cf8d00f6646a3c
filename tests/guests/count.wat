;; Returns the number of calls of this instance.
(global $calls (mut i32) (i32.const 0))
(data (i32.const 2048) "\00\00\00\00\01\00\00\00\00\0c\00\00\01\00\00\00")
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform)
  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
  (i32.store8 (i32.const 3072) (i32.add (global.get $calls) (i32.const 48)))
  (i32.const 2048))

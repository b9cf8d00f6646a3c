;; Calls a function with a type that is not its own.
(type $none (func))
(table $t funcref (elem $alloc))
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (call_indirect $t (type $none) (i32.const 0)) (i32.const 1024))

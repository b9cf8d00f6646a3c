;; Calls an empty element of its table.
(type $none (func))
(table $t 4 funcref)
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (call_indirect $t (type $none) (i32.const 2)) (i32.const 1024))

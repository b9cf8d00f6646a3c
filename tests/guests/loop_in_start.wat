;; Never returns from its start function.
(func $start (loop $l (br $l)))
(start $start)
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (i32.const 1024))

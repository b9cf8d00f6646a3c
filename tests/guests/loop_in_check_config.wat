;; Never returns from check-config.
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (loop $l (br $l)) unreachable)
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (i32.const 1024))

;; Answers, and never returns from the clean-up after the answer.
(func (export "cabi_post_posthaste:transform/handler@0.1.0#transform") (param i32) (loop $l (br $l)))
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (i32.const 1024))

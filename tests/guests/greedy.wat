;; Grows its memory page by page until it is stopped.
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform)
  (loop $l (drop (memory.grow (i32.const 1))) (br $l)) unreachable)

;; Grows its table by a thousand elements until it is stopped.
(table $t 1 funcref)
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (loop $l (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $l)) unreachable)

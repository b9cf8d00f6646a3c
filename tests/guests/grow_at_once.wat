;; Asks for 1,900 pages, 119 MiB, in one step.
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (drop (memory.grow (i32.const 1900))) (i32.const 1024))

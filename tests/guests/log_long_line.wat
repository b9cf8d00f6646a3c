;; Logs one line of half a megabyte, with line breaks and colours in it, and passes.
(import "posthaste:transform/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (memory.fill (i32.const 65536) (i32.const 27) (i32.const 524288))
  (i32.store (i32.const 65536) (i32.const 0x0a0d6968))
  (call $log (i32.const 1) (i32.const 65536) (i32.const 524288))
  (i32.const 1024))

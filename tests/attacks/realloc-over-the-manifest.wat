;; Lets the host overwrite the bundle's own responses. This harms only the bundle.
(func $realloc (param i32 i32 i32 i32) (result i32)
    (select (i32.const 96) (i32.const 65536) (i32.eq (local.get 3) (i32.const 2))))

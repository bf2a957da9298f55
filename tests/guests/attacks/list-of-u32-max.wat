;; As many violations as an address can say.
(data (i32.const 512) "\01\00\00\00\00\00\00\00\ff\ff\ff\ff")
(func $validate (param i32 i32 i32 i32) (result i32) (i32.const 512))

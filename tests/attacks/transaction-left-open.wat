;; Begins a transaction, writes, and returns without closing it.
;; capabilities: sql sqlite, secrets
(import "blockyard:bundle/sql@0.1.0" "[static]connection.open"
    (func $open (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(import "blockyard:bundle/sql@0.1.0" "[method]connection.execute" (func $execute (param i32 i32 i32 i32 i32 i32)))
(import "blockyard:bundle/sql@0.1.0" "[method]connection.begin" (func $begin (param i32 i32)))
(import "blockyard:bundle/sql@0.1.0" "[method]transaction.execute" (func $within (param i32 i32 i32 i32 i32 i32)))
(data (i32.const 512) "sqlite")
(data (i32.const 528) "create table if not exists taken (a integer)")
(data (i32.const 592) "insert into taken values (1)")
;; Returns the value of the result at this address; crashes if it is an error.
(func $given (param $at i32) (result i32)
    (if (i32.load8_u (local.get $at)) (then (unreachable)))
    (i32.load offset=4 (local.get $at)))
(func $invoke (type $call)
    (local $connection i32)
    ;; The path of the database is in the configuration: {"note":"PATH"}.
    (call $open (i32.const 512) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.add (local.get 5) (i32.const 9)) (i32.sub (local.get 6) (i32.const 11))
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 640))
    (local.set $connection (call $given (i32.const 640)))
    (call $execute (local.get $connection) (i32.const 528) (i32.const 44) (i32.const 0) (i32.const 0) (i32.const 704))
    (drop (call $given (i32.const 704)))
    (call $begin (local.get $connection) (i32.const 768))
    (call $within (call $given (i32.const 768)) (i32.const 592) (i32.const 28) (i32.const 0) (i32.const 0)
        (i32.const 832))
    (drop (call $given (i32.const 832)))
    (call $null))

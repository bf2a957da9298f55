;; Uses a transaction after committing it.
;; capabilities: sql sqlite, secrets
(import "blockyard:bundle/sql@0.1.0" "[static]connection.open"
    (func $open (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(import "blockyard:bundle/sql@0.1.0" "[method]connection.begin" (func $begin (param i32 i32)))
(import "blockyard:bundle/sql@0.1.0" "[static]transaction.commit" (func $commit (param i32 i32)))
(import "blockyard:bundle/sql@0.1.0" "[method]transaction.execute" (func $within (param i32 i32 i32 i32 i32 i32)))
(data (i32.const 528) "create table taken (a integer)")
(data (i32.const 512) "sqlite")
;; Returns the value of the result at this address; crashes if it is an error.
(func $given (param $at i32) (result i32)
    (if (i32.load8_u (local.get $at)) (then (unreachable)))
    (i32.load offset=4 (local.get $at)))
;; The path of the database is in the configuration: {"note":"PATH"}.
(func $connect (param $config i32) (param $length i32) (result i32)
    (call $open (i32.const 512) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.add (local.get $config) (i32.const 9)) (i32.sub (local.get $length) (i32.const 11))
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 640))
    (call $given (i32.const 640)))
(func $invoke (type $call)
    (local $transaction i32)
    (call $begin (call $connect (local.get 5) (local.get 6)) (i32.const 768))
    (local.set $transaction (call $given (i32.const 768)))
    (call $commit (local.get $transaction) (i32.const 832))
    (call $within (local.get $transaction) (i32.const 528) (i32.const 30) (i32.const 0) (i32.const 0) (i32.const 832))
    (call $null))

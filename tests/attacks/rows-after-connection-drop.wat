;; Reads the rows of a query after dropping its connection.
;; capabilities: sql sqlite, secrets
(import "blockyard:bundle/sql@0.1.0" "[static]connection.open"
    (func $open (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(import "blockyard:bundle/sql@0.1.0" "[method]connection.query" (func $query (param i32 i32 i32 i32 i32 i32)))
(import "blockyard:bundle/sql@0.1.0" "[resource-drop]connection" (func $drop (param i32)))
(import "blockyard:bundle/sql@0.1.0" "[method]rows.next" (func $rows (param i32 i32 i32)))
(data (i32.const 528) "values (1), (2)")
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
    (local $connection i32)
    (local.set $connection (call $connect (local.get 5) (local.get 6)))
    (call $query (local.get $connection) (i32.const 528) (i32.const 15) (i32.const 0) (i32.const 0) (i32.const 768))
    (call $drop (local.get $connection))
    (call $rows (call $given (i32.const 768)) (i32.const 10) (i32.const 832))
    ;; Both rows are readable.
    (drop (call $given (i32.const 832)))
    (if (i32.ne (i32.load offset=8 (i32.const 832)) (i32.const 2)) (then (unreachable)))
    (call $null))

;; Uses a handle of its own `parts` resource as a body.
(import "[export]blockyard:bundle/block-types@0.1.0" "[resource-new]parts" (func $parts (param i32) (result i32)))
(import "blockyard:bundle/streams@0.1.0" "[method]body.media-type" (func $media-type (param i32 i32)))
(func $invoke (type $call) (call $media-type (call $parts (i32.const 1)) (i32.const 512)) (call $null))

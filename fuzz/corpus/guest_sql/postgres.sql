select 'it''s', E'a\'$1' -- $2
, "b""$3", U&'\0041', e'a'
'\'' /* /* $4 */ */
from t where a = $1 and b = $tag$ $5 ' $$ $tag$;

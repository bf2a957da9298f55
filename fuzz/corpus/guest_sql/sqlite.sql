select 'it''s', "a?", [b ' ?], `c`, x'00', ?1, $v -- ?
from t /* ' */ where a = :a and b = ?;

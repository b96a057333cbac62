-- Lives that never start: those that the index was told to forget, eight bytes each, the last
-- one first. Whoever was about to start one finds it here. It is kept for a day, and so many,
-- that it is here for as long as a call may be under way.
local MOST_REFUSED, REFUSED_FOR = 64, 86400000

local function with_refused(list, life)
  return (life .. (list or '')):sub(1, 8 * MOST_REFUSED)
end

local function is_refused(list, life)
  for at = 1, #(list or ''), 8 do
    if list:sub(at, at + 7) == life then return true end
  end
  return false
end


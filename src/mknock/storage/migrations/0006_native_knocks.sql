-- A membership knock of the person's stands in the room and is to be answered with this knock.

ALTER TABLE knocks ADD COLUMN knocking INTEGER NOT NULL DEFAULT 0;

"""What the bot says in a direct room. It does not know the person's language, so it says everything in two.

Nothing here depends on why somebody was held or refused (promise 6), and nothing names a room (promise 5).
"""

from __future__ import annotations

from typing import Any, Final

SEND_CODE: Final = (
    "Hello! Please send me the code that the page showed you after you asked to join.",
    "Hallo! Bitte schick mir den Code, den dir die Seite nach deiner Anfrage gezeigt hat.",
)
SAY_YES: Final = (
    "Hello! You asked to join by a form. If that was you, please answer with the one word: yes",
    "Hallo! Du hast über ein Formular um Einlass gebeten. Wenn du das warst, antworte bitte mit dem einen Wort: ja",
)
WRONG: Final = (
    "That code does not fit. Please compare it with the page; a new request there shows a new code.",
    "Dieser Code passt nicht. Bitte vergleiche ihn mit der Seite; eine neue Anfrage dort zeigt einen neuen Code.",
)
TOO_MANY: Final = (
    "Those were too many wrong codes. Please come back in an hour, and start a new chat with me then.",
    "Das waren zu viele falsche Codes. Bitte komm in einer Stunde wieder und beginne dann einen neuen Chat mit mir.",
)
TOO_OLD: Final = (
    "That request is over. Please ask to join once more, and then start a new chat with me.",
    "Diese Anfrage ist abgelaufen. Bitte frag noch einmal an und beginne dann einen neuen Chat mit mir.",
)
LET_IN: Final = (
    "Thank you, this account is yours. You are let in: the invitation is in your app in a moment.",
    "Danke, das Konto gehört dir. Du wirst eingelassen: Die Einladung ist gleich in deiner App.",
)
WAITS: Final = (
    "Thank you, this account is yours. A moderator looks at your request; the invitation comes if they let you in.",
    "Danke, das Konto gehört dir. Deine Anfrage sieht sich noch jemand an; die Einladung kommt, wenn es klappt.",
)
IS_IN: Final = (
    "Thank you, this account is yours. It is in already.",
    "Danke, das Konto gehört dir. Es ist schon dabei.",
)
UNREADABLE: Final = (
    "I cannot read this encrypted message. Please start a new chat with me, without encryption if your app offers it.",
    "Diese verschlüsselte Nachricht kann ich nicht lesen. Bitte beginne einen neuen Chat mit mir, unverschlüsselt.",
)

Text = tuple[str, str]


def notice(text: Text) -> dict[str, Any]:
    """The message's content."""
    return {"msgtype": "m.notice", "body": "\n\n".join(text), "m.mentions": {}}

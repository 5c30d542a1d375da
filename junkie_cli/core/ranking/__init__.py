"""Ranks texts by how well they answer a message or a question: one ranking for every reader.

The data is, for each text, the words that a search can find it by (`words.search_words`). Whoever stores a text derives
them; whoever searches derives the words of the query in the same way and ranks the candidates (`scoring.rank`). Pure
functions: nothing here reads a database.
"""
